"""Other libraries' progress, published: each module needs its library, and nothing else does."""
