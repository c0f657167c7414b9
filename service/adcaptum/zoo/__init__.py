"""The bundled models: architectures, which import torch alone, and the recipes that build them."""
