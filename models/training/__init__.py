"""What the trained parts of the offline encoders are made from: packages of free drawings, and their features."""
