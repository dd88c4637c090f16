"""The cluster in a web browser: a feed of what changes, a server for it, and the page. Nothing can be changed by it."""
