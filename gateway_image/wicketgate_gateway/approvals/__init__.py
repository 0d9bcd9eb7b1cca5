"""Operations held for a person: asked, voted on, used once."""
