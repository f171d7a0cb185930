"""The data path: listeners, HTTP channel, resource tree, pipeline, generations."""
