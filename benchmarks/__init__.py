"""Side-by-side measurements: each figure stands beside a floor or a peer that was measured in the same run."""
