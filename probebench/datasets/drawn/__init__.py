"""Images that are drawn from packages: SVG of npm, clip art and fonts of Debian."""
