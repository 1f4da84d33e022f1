"""Telling the team what needs a person: which matters there are, whom to tell, and how not to tell too often."""
