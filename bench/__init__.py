"""Reference programs and Bellwire's own rates beside them. How to read the figures: README.md here."""
