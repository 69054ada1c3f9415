"""Long comparisons of whole assignments with the codes that have the same rule: anchors that differ are near-ties."""
