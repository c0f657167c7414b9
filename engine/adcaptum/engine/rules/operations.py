"""Names of torch's operations, and sets of operations that rules treat alike.

An operation has one name however it is called: `torch.relu`, `Tensor.relu`, `F.relu` and
`torch.ops.aten.relu.default` are all "relu"; `relu_` and `+=` are in-place forms of their names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def words(text: str) -> frozenset[str]:
    """Returns the words of a text as a set."""
    return frozenset(text.split())


_ALIASES = {
    "absolute": "abs",
    "arctan2": "atan2",
    "clip": "clamp",
    "concat": "cat",
    "concatenate": "cat",
    "divide": "div",
    "true_divide": "div",
    "__truediv__": "div",
    "log_sigmoid": "logsigmoid",
    "log_sigmoid_forward": "logsigmoid",
    "multiply": "mul",
    "negative": "neg",
    "special_erf": "erf",
    "special_exp2": "exp2",
    "special_expit": "sigmoid",
    "special_expm1": "expm1",
    "special_log1p": "log1p",
    "special_log_softmax": "log_softmax",
    "special_logsumexp": "logsumexp",
    "special_softmax": "softmax",
    "_log_softmax": "log_softmax",
    "_softmax": "softmax",
    "__abs__": "abs",
    "bitwise_and": "__and__",
    "bitwise_not": "__invert__",
    "bitwise_or": "__or__",
    "bitwise_xor": "__xor__",
    "greater": "gt",
    "greater_equal": "ge",
    "less": "lt",
    "less_equal": "le",
    "not_equal": "ne",
    "subtract": "sub",
    "swapaxes": "transpose",
    "swapdims": "transpose",
    "moveaxis": "movedim",
    "_unsafe_view": "view",
}

# Functions that differ from the tensor methods of the same names.
_FUNCTIONAL = {"unfold": "im2col", "fold": "col2im"}

_AUGMENTED = {
    "__iadd__": "add",
    "__isub__": "sub",
    "__imul__": "mul",
    "__idiv__": "div",
    "__itruediv__": "div",
    "__ipow__": "pow",
    "__imatmul__": "matmul",
    "__iand__": "__and__",
    "__ior__": "__or__",
    "__ixor__": "__xor__",
}


def name_of(func: Callable[..., Any]) -> tuple[str, bool]:
    """Returns the name of an operation, and whether it works in place.

    Attributes of tensors (`x.T`) have the attribute's name; setting one is "__set__".
    """
    name = str(func.__name__).split(".")[0]
    if name == "__get__":
        return str(getattr(func, "__self__", func).__name__), False
    if getattr(func, "__module__", None) == "torch.nn.functional" and name in _FUNCTIONAL:
        return _FUNCTIONAL[name], False
    in_place = False
    if name in _AUGMENTED:
        name, in_place = _AUGMENTED[name], True
    elif name.endswith("_") and not name.endswith("__"):
        name, in_place = name[:-1], True
    return _ALIASES.get(name, name), in_place


MOVEMENT = words("""
    alias as_strided atleast_1d atleast_2d atleast_3d broadcast_tensors broadcast_to cat
    channel_shuffle chunk clone column_stack constant_pad_nd contiguous copy cpu cuda diag
    diag_embed diagflat diagonal dsplit dstack expand expand_as flatten flip fliplr flipud fold
    gather __getitem__ hsplit hstack im2col col2im index index_add index_copy index_fill index_put
    index_select lift_fresh masked_select masked_scatter movedim narrow native_channel_shuffle pad
    permute pixel_shuffle pixel_unshuffle ravel reflection_pad1d reflection_pad2d reflection_pad3d
    repeat repeat_interleave replication_pad1d replication_pad2d replication_pad3d reshape
    reshape_as resize roll rot90 row_stack scatter scatter_add select select_scatter __setitem__
    slice slice_scatter split split_with_sizes squeeze stack t take take_along_dim tensor_split tile
    to trace transpose tril triu type type_as unbind unflatten unfold unsafe_chunk unsafe_split
    unsqueeze view view_as view_as_complex view_as_real vsplit vstack T mT H mH adjoint real imag
    float double half bfloat16 pin_memory zero fill conj resolve_conj resolve_neg
""")
"""Operations that move numbers, or copy them."""

LINEAR = words("""
    add sub rsub neg positive sum mean nansum nanmean cumsum sum_to_size avg_pool1d avg_pool2d
    avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d affine_grid diff
    embedding embedding_bag interpolate upsample upsample_nearest upsample_bilinear
    upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_linear1d upsample_bilinear2d
    upsample_trilinear3d upsample_bicubic2d _upsample_nearest_exact1d _upsample_nearest_exact2d
    _upsample_nearest_exact3d _upsample_bilinear2d_aa _upsample_bicubic2d_aa trapezoid trapz
    fft_fft fft_ifft fft_rfft fft_irfft fft_fft2 fft_ifft2 fft_rfft2 fft_irfft2 fft_fftn fft_ifftn
    fft_rfftn fft_irfftn fft_hfft fft_ihfft stft istft complex max_unpool1d
    max_unpool2d max_unpool3d __radd__
""")
"""Operations that are linear, or affine, in all their differentiable arguments together."""

PASSIVE = words("""
    shape dtype device layout grad grad_fn is_leaf requires_grad is_cuda is_cpu is_mps is_meta
    is_nested is_sparse is_quantized itemsize nbytes ndim names output_nr data size dim ndimension
    numel
    nelement stride storage_offset __len__ __bool__ __int__ __float__ __index__ item tolist numpy
    is_floating_point is_complex is_contiguous is_signed is_same_size is_tensor is_inference
    element_size untyped_storage data_ptr get_device detach __set__ __delete__ __repr__ __format__
    __hash__ _set_grad_enabled set_grad_enabled eq ne lt le gt ge equal isnan isinf isfinite
    logical_and logical_or logical_not logical_xor __and__ __or__ __xor__ __invert__ arange zeros
    ones empty full zeros_like ones_like empty_like full_like new_zeros new_ones new_empty new_full
    new_tensor tensor as_tensor rand randn rand_like randn_like all any argmax argmin argsort
    _has_compatible_shallow_copy_type register_hook retain_grad is_grad_enabled result_type
    promote_types broadcast_shapes finfo iinfo
""")
"""Operations and attributes without a gradient."""

LEAVING = words("item tolist numpy __float__ __int__ __index__")
"""Operations that give numbers of Python, or arrays of NumPy, which cannot be followed."""

SEVERING = words("""
    detach data eq ne lt le gt ge isnan isinf isfinite logical_and logical_or logical_not
    logical_xor __and__ __or__ __xor__ __invert__ tensor as_tensor new_tensor all any argmax argmin
    argsort
""")
"""Passive operations whose values depend on their arguments' values."""

NEUTRAL = PASSIVE - SEVERING - LEAVING
"""Passive operations whose results do not depend on values, or only steer the program's flow."""

INDEXING = words("""
    __getitem__ index gather take take_along_dim index_select index_add index_copy index_fill
    index_put put scatter scatter_add scatter_reduce masked_select masked_scatter repeat_interleave
    max_unpool1d max_unpool2d max_unpool3d
""")
"""Operations with indices among their arguments after the first."""

BILINEAR = words("""
    mul matmul bmm mm mv dot vdot inner outer ger addmm addbmm baddbmm addmv addr addcmul lerp
    linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution
    conv_tbc bilinear einsum tensordot kron cross linalg_cross grid_sampler grid_sample
    linalg_matmul linalg_vecdot
""")
"""Operations that are affine in each of their arguments with the others fixed."""

QUADRATIC = frozenset({"square", "var", "cov", "mse_loss"})
"""Polynomials of degree two in their arguments together."""

ELEMENTWISE = words("""
    relu relu6 elu selu celu gelu silu mish softplus sigmoid tanh hardtanh hardswish hardsigmoid
    leaky_relu prelu rrelu rrelu_with_noise logsigmoid softsign tanhshrink hardshrink softshrink
    threshold clamp clamp_min clamp_max exp exp2 expm1 log log2 log10 log1p sqrt rsqrt abs erf erfc
    erfinv sin cos tan asin acos atan arcsin arccos arctan sinh cosh asinh acosh atanh arcsinh
    arccosh arctanh reciprocal sinc logit lgamma digamma i0 floor ceil round trunc fix frac sign sgn
    nan_to_num rad2deg deg2rad
""")
"""Functions of each element of their first argument."""

BINARY = words("""
    div pow float_power maximum minimum fmax fmin atan2 hypot logaddexp logaddexp2 xlogy
    special_xlogy special_xlog1py copysign remainder fmod floor_divide
""")
"""Functions of the elements of two arguments."""

WHOLE = words("""
    softsign tanhshrink max_pool1d max_pool2d max_pool3d adaptive_max_pool1d adaptive_max_pool2d
    adaptive_max_pool3d fractional_max_pool2d fractional_max_pool3d max_pool1d_with_indices
    max_pool2d_with_indices max_pool3d_with_indices adaptive_max_pool1d_with_indices
    adaptive_max_pool2d_with_indices adaptive_max_pool3d_with_indices
    fractional_max_pool2d_with_indices fractional_max_pool3d_with_indices
""")
"""Functions written in Python that count as one operation: rules do not see their body."""
