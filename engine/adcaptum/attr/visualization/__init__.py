"""Pictures of attributions.

Pictures of images and time series need matplotlib, imported on first use; those of texts are HTML.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from adcaptum.attr.visualization.choices import (
    ImageVisualizationMethod,
    TimeseriesVisualizationMethod,
    VisualizeSign,
)
from adcaptum.attr.visualization.text import (
    VisualizationDataRecord,
    format_classname,
    format_special_tokens,
    format_tooltip,
    format_word_importances,
    visualize_text,
)

if TYPE_CHECKING:
    from adcaptum.attr.visualization.image import (
        visualize_image_attr,
        visualize_image_attr_multiple,
    )
    from adcaptum.attr.visualization.masks import draw_mask_border, draw_mask_legend
    from adcaptum.attr.visualization.timeseries import visualize_timeseries_attr

__all__ = [
    "ImageVisualizationMethod",
    "TimeseriesVisualizationMethod",
    "VisualizationDataRecord",
    "VisualizeSign",
    "draw_mask_border",
    "draw_mask_legend",
    "format_classname",
    "format_special_tokens",
    "format_tooltip",
    "format_word_importances",
    "visualize_image_attr",
    "visualize_image_attr_multiple",
    "visualize_text",
    "visualize_timeseries_attr",
]

_WITH_MATPLOTLIB = {
    "draw_mask_border": "masks",
    "draw_mask_legend": "masks",
    "visualize_image_attr": "image",
    "visualize_image_attr_multiple": "image",
    "visualize_timeseries_attr": "timeseries",
}


def __getattr__(name: str) -> Any:
    if name not in _WITH_MATPLOTLIB:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = import_module(f"{__name__}.{_WITH_MATPLOTLIB[name]}")
    except ModuleNotFoundError as error:
        raise ImportError(f"{name} needs matplotlib: pip install 'adcaptum[plot]'") from error
    return getattr(module, name)


def __dir__() -> list[str]:
    return __all__
