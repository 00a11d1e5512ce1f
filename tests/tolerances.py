"""How far two right answers may be apart: one table, by dtype and kind of comparison. All dimensionless."""

RELATIVE = {
    ("complex step", "float64"): 1e-12,  # gradients of the reference against exact derivatives
    ("central differences", "float64"): 1e-7,  # limited by the differences: eps**(2/3) and the loss's curvature
    ("same maths", "float64"): 1e-13,  # two ways to the same sums in another order, at the sizes of the tests
    ("same maths", "float32"): 5e-6,
    ("same maths, any shape", "float64"): 1e-12,  # sums of any length, which may cancel
    ("same maths, any shape", "float32"): 5e-5,
    ("other library", "float64"): 1e-12,
    ("other library", "float32"): 1e-5,
}


def relative(kind: str, dtype: str = "float64") -> float:
    """The bound on |a - b| / |b| in the 2-norm."""
    return RELATIVE[kind, dtype]
