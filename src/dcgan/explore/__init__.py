"""The latent space: walk through it, mix it, find images in it and steer along its directions."""
