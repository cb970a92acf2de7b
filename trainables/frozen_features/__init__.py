"""What the frozen part of a network computes, computed once and kept."""
