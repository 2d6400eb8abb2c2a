"""How partitions of one set follow from those of another: algebra on bitmaps of partition numbers."""
