from dataclasses import replace

from ...ops import quantize_qs8
from . import BIT_EXACT, conformer_layer


def _quantized(case):
    def arguments():
        made = case.arguments()
        weights = {}
        for name, value in made["weights"].items():
            weights[name] = value
            if value.ndim == 2 and name != "conv.depthwise.weight":
                weights[name], weights[f"{name}_scale"] = quantize_qs8(value)
        return {**made, "weights": weights}

    return replace(case, arguments=arguments, tolerance=0.0, reason=BIT_EXACT)


CASES = [_quantized(case) for case in conformer_layer.CASES]
