"""Judging images: how far generated ones are from real ones, and whether they are copies."""
