"""What the pages of review and serving share: layout, style, translations, and the headers that keep them safe."""
