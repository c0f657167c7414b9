"""Ports: the servers of gRPC behind them."""
