"""The quickstart: the whole product on one machine, with Entra emulated."""
