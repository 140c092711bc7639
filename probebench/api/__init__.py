"""The front door: what `import probebench` offers, a function a question. Nothing heavy loads until one is called."""
