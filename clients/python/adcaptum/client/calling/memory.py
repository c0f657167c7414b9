"""Facts that a client keeps from call to call."""

from adcaptum.client.codec.request_templates import MOST_TEMPLATES, RequestTemplates
from adcaptum.client.results.model_info import InputInfo


class Memory:
    """Declared inputs of models, and templates of requests.

    Attributes:
        inputs: The inputs that a model declares, by its serialised reference.
        explain: Templates of requests for explanations.
        predict: Templates of requests for predictions.
    """

    def __init__(self, *, templates: bool = True) -> None:
        """Begin without facts.

        Args:
            templates: Whether to keep templates. A channel of the caller's own may have
                interceptors, which expect messages and not bytes.
        """
        most = MOST_TEMPLATES if templates else 0
        self.inputs: dict[bytes, tuple[InputInfo, ...]] = {}
        self.explain = RequestTemplates(most)
        self.predict = RequestTemplates(most)
