"""How few parameters reach 95 % on MNIST?"""
