"""Runs a model in ONNX Runtime when told to: worker.py MODEL EXPOSED INPUT BATCH THREADS

INPUT is a file of float32 values for one input of BATCH samples; THREADS is 0 for the default. EXPOSED is the model with
every tensor as an output, or "-". Each line read is answered by one line:

bare        runs the model: seconds by the clock, seconds of CPU time
all         runs the exposed model: the same
check PATH  runs the model and writes its first output as float32
memory      the largest resident size so far, less that of Python and NumPy, and that, in KiB
"""

import sys
import time

import numpy as np


def status(key):
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(key + ":"))


def main():
    model, exposed, path, batch, threads = sys.argv[1:]
    idle = status("VmRSS")
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = int(threads)
    options.log_severity_level = 4

    def prepare(path):
        return ort.InferenceSession(path, options, ["CPUExecutionProvider"])

    sessions = {"bare": prepare(model)} if model != "-" else {}
    if exposed != "-":
        sessions["all"] = prepare(exposed)
    info = next(iter(sessions.values())).get_inputs()[0]
    shape = [int(batch), *info.shape[1:]]
    feed = {info.name: ort.OrtValue.ortvalue_from_numpy(np.fromfile(path, np.float32).reshape(shape))}
    names = {key: [o.name for o in s.get_outputs()] for key, s in sessions.items()}

    def run(key):
        # Values of ONNX Runtime's own: nothing is copied for Python.
        return sessions[key].run_with_ort_values(names[key], feed)

    print("ready", flush=True)
    for line in sys.stdin:
        match line.split():
            case ["check", to]:
                run("bare")[0].numpy().tofile(to)
                print("done", flush=True)
            case ["memory"]:
                print(status("VmHWM") - idle, idle, flush=True)
            case [key]:
                wall, cpu = time.perf_counter(), time.process_time()
                results = run(key)
                wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
                del results
                print(wall, cpu, flush=True)


main()
