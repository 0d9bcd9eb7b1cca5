"""`wicketgate doctor`: what is wrong, or will be, with a stack's identities in Entra."""
