"""What a Pulumi resource provider written in Python needs: the server around it, and property values."""
