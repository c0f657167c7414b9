"""The fleet: the models of all workers, loaded, unloaded and described as one."""
