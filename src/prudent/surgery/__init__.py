"""Taking units out of a network for good: structure (chain) -> cut -> proof."""
