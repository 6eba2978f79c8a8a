"""How good is it?  Measured on videos alone, by networks that took no part in making them."""
