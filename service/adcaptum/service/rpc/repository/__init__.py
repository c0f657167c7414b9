"""RepositoryService: workers, and the life cycle of models."""
