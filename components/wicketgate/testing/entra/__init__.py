"""An emulator of Entra ID's login endpoints and of the part of Microsoft Graph that directory automation uses."""
