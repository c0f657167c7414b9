"""Methods that replace the chain rule: DeepLIFT and LRP."""
