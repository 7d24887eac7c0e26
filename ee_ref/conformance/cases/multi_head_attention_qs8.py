from dataclasses import replace

from . import exact, multi_head_attention


def _values(name, change):
    """The case frames_17, two heads of 6 channels, with other weights and biases of the values."""
    (case,) = (case for case in multi_head_attention.CASES if case.name == "frames_17")

    def arguments():
        made = case.arguments()
        dim = made["x"].shape[1]
        change(made["x"], made["in_weight"][2 * dim :], made["in_bias"][2 * dim :])
        return made

    return replace(case, name=name, arguments=arguments)


def _zero(x, weight, bias):
    weight[:], bias[:] = 0, 0


def _zero_rows(x, weight, bias):
    x[::3], bias[:] = 0, 0


def _zero_head(x, weight, bias):
    weight[:6], bias[:6] = 0, 0


def _one_row_far_larger(x, weight, bias):
    x[:, 1:3] = 0
    x[4] = 0
    x[4, 1:3] = 2.0**30
    bias[:] = 0


CASES = exact([
    *multi_head_attention.CASES,
    _values("all_values_zero", _zero),
    _values("zero_value_rows", _zero_rows),
    _values("values_of_one_head_zero", _zero_head),
    _values("one_value_row_far_larger", _one_row_far_larger),
], "in_weight", "out_weight")
