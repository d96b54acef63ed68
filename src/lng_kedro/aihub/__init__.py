"""The raw dataset of AI-Hub: reading it, splitting it, and rendering the demo's copy of it."""
