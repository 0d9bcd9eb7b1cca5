"""What a PostgreSQL statement does, read from PostgreSQL's own grammar; `facts` is the way in."""
