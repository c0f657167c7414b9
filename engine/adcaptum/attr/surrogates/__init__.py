"""Captum's surrogate methods: Lime and KernelShap."""
