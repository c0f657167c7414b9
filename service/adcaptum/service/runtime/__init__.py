"""The runtime: works, engine cores, the runners that step them, and the dispatcher over them."""
