from dataclasses import replace

from ...families import SCALE_SUFFIX, Kind
from ...families.conformer import LAYER
from ...ops import quantize_qs8
from . import BIT_EXACT, conformer_layer


def _quantized(case):
    def arguments():
        made = case.arguments()
        weights = {}
        for name, _, kind in LAYER:
            weights[name] = made["weights"][name]
            if kind is Kind.MATRIX:
                weights[name], weights[name + SCALE_SUFFIX] = quantize_qs8(weights[name])
        return {**made, "weights": weights}

    return replace(case, arguments=arguments, tolerance=0.0, reason=BIT_EXACT)


CASES = [_quantized(case) for case in conformer_layer.CASES]
