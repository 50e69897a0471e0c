"""Recurrent operators: oracle/ops_recurrent.py FOLDER"""

import numpy as np
from case import case, f

T, B, I, H = 6, 3, 4, 5
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def inputs(op, directions, lengths=False, state=False, peepholes=False, bias=True):
    g = GATES[op]
    given = [f(T, B, I), f(directions, g * H, I, scale=0.5), f(directions, g * H, H, scale=0.5)]
    given.append(f(directions, 2 * g * H, scale=0.5) if bias else None)
    given.append(np.array([6, 2, 4], np.int32) if lengths else None)
    given.append(f(directions, B, H) if state else None)
    if op == "LSTM":
        given.append(f(directions, B, H) if state else None)
        given.append(f(directions, 3 * H, scale=0.5) if peepholes else None)
    while given[-1] is None:
        given.pop()
    return given


for op in GATES:
    outputs = 3 if op == "LSTM" else 2
    forms = [{}, {"linear_before_reset": 1}] if op == "GRU" else [{}]
    for form in forms:
        for direction, d in [("forward", 1), ("reverse", 1), ("bidirectional", 2)]:
            for lengths in [False, True]:
                for state in [False, True]:
                    case(op, inputs(op, d, lengths, state), outputs=outputs, hidden_size=H, direction=direction, opset=14, **form)
            case(op, inputs(op, d, bias=False), outputs=outputs, hidden_size=H, direction=direction, opset=7, **form)
            case(op, inputs(op, d), outputs=outputs, hidden_size=H, direction=direction, clip=0.4, **form)
    for names, alpha, beta in [
        (["Relu", "Tanh", "Tanh"], [], []), (["HardSigmoid", "Affine", "ScaledTanh"], [0.3, 0.7, 1.3], [0.4, 0.1, 0.6]),
        (["Sigmoid", "LeakyRelu", "Softsign"], [0.2], []), (["Sigmoid", "Elu", "Softplus"], [0.6], []),
        (["Sigmoid", "ThresholdedRelu", "Tanh"], [0.3], []), (["Softsign", "Softplus", "Relu"], [], []),
    ]:
        n = {"RNN": 1, "GRU": 2, "LSTM": 3}[op]
        if op == "RNN":
            names = names[1:]
            alpha, beta = alpha[1:] if len(alpha) > 1 else alpha, beta[1:]
        arguments = {"activations": names[:n]}
        if alpha:
            arguments["activation_alpha"] = alpha[:n]
        if beta:
            arguments["activation_beta"] = beta[:n]
        case(op, inputs(op, 1), outputs=outputs, hidden_size=H, **arguments)
for direction, d in [("forward", 1), ("bidirectional", 2)]:
    for lengths in [False, True]:
        case("LSTM", inputs("LSTM", d, lengths, True, True), outputs=3, hidden_size=H, direction=direction)
    case("LSTM", inputs("LSTM", d, state=True, peepholes=True), outputs=3, hidden_size=H, direction=direction, clip=0.3)
    case("LSTM", inputs("LSTM", d, state=True), outputs=3, hidden_size=H, direction=direction, input_forget=1)
case("LSTM", inputs("LSTM", 1), outputs=1, hidden_size=H)
