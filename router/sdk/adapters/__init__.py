"""Make existing code emit: one module a library, which is imported only by the module that adapts it."""
