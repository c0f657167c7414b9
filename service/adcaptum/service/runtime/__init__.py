"""The runtime: engine cores, their runners, and the dispatcher over them."""
