"""The first version of KServe's inference protocol."""
