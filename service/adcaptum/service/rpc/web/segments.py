"""Names in paths, which may be followed by a verb after a colon."""

from starlette.convertors import Convertor, register_url_convertor


class SegmentConvertor(Convertor[str]):
    """A name in a path, which ends before a slash or a colon."""

    regex = "[^/:]+"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("segment", SegmentConvertor())


def path_of_names(path: str) -> str:
    """Returns a path whose parameters take no colon: `/models/{model}:predict`."""
    return path.replace("}", ":segment}")
