"""Compares inferred shapes with those of the onnx package, for models given as arguments.

Usage: compare_shapes.py INFER MODEL...   where INFER is the built example `infer` of this crate.

For every tensor that a node of the main graph makes, prints where less is known or something else is said than the
onnx package says, and counts where more is known. Every model is compared as it is and without its declared types.
Ends with 1 if anything differs or a model is no longer valid.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import onnx


def types(model):
    found = {}
    for value in list(model.graph.value_info) + list(model.graph.output):
        tensor = value.type.tensor_type
        if not value.type.HasField("tensor_type"):
            continue
        shape = None
        if tensor.HasField("shape"):
            shape = []
            for dim in tensor.shape.dim:
                if dim.HasField("dim_value"):
                    shape.append(dim.dim_value)
                elif dim.dim_param and not dim.dim_param.startswith("unk__"):
                    shape.append(dim.dim_param)
                else:
                    shape.append(None)
        found[value.name] = (tensor.elem_type, shape)
    return found


def compare(ours, theirs):
    """'same', 'more', 'renamed', 'less' or 'differs'."""
    if theirs is None:
        return "same" if ours is None else "more"
    if ours is None:
        return "less"
    if ours[0] != theirs[0]:
        return "differs"
    if theirs[1] is None:
        return "same" if ours[1] is None else "more"
    if ours[1] is None:
        return "less"
    if len(ours[1]) != len(theirs[1]):
        return "differs"
    verdict = "same"
    for a, b in zip(ours[1], theirs[1]):
        if a == b:
            continue
        if b is None or (isinstance(b, str) and isinstance(a, int)):
            verdict = "more" if verdict == "same" else verdict
        elif isinstance(a, str) and isinstance(b, str):
            # The name that came through the network against the one that the model declares for its output.
            verdict = "renamed"
        elif a is None:
            return "less"
        else:
            return "differs"
    return verdict


def main():
    infer, failed = sys.argv[1], False
    for path in sys.argv[2:]:
        for stripped in (False, True):
            model = onnx.load(path)
            if stripped:
                del model.graph.value_info[:]
            with tempfile.TemporaryDirectory() as directory:
                source = Path(directory) / "model.onnx"
                onnx.save(model, source)
                done = subprocess.run([infer, source], capture_output=True, check=True)
            ours = onnx.load_from_string(done.stdout)
            reference = onnx.shape_inference.infer_shapes(model, strict_mode=False, data_prop=True)
            a, b = types(ours), types(reference)
            made = [o for n in model.graph.node for o in n.output if o]
            count = {"same": 0, "more": 0, "renamed": 0, "less": 0, "differs": 0}
            for name in made:
                verdict = compare(a.get(name), b.get(name))
                count[verdict] += 1
                if verdict in ("less", "differs"):
                    print(f"  {verdict} {name}: {a.get(name)} against {b.get(name)}")
                    failed = True
            try:
                onnx.checker.check_model(model, full_check=True)
                before = "valid"
            except Exception as e:
                before = f"invalid: {str(e)[:80]}"
            try:
                onnx.checker.check_model(ours, full_check=True)
                onnx.shape_inference.infer_shapes(ours, strict_mode=True, check_type=True, data_prop=True)
                after = "valid"
            except Exception as e:
                after = f"invalid: {e}"
            failed |= before == "valid" and after != "valid"
            kind = "stripped" if stripped else "as it is"
            print(Path(path).name, kind, count, "before", before, "after", after)
            for line in done.stderr.decode().splitlines():
                print("   ", line)
    sys.exit(failed)


main()
