"""The texts that the bundled model is made for.

They are the single words of Speech Commands and six wake phrases: 43 words in all.
"""

COMMANDS = ("DOWN", "GO", "LEFT", "NO", "OFF", "ON", "RIGHT", "STOP", "UP", "YES")
DIGITS = ("ZERO", "ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE")
OTHERS = ("BACKWARD", "BED", "BIRD", "CAT", "DOG", "FOLLOW", "FORWARD", "HAPPY", "HOUSE", "LEARN",
          "MARVIN", "SHEILA", "TREE", "VISUAL", "WOW")
WAKE = ("ALEXA", "COMPUTER", "JARVIS", "SMART MIRROR", "SNOWBOY", "VIEW GLASS")
WORDS = tuple(sorted({*COMMANDS, *DIGITS, *OTHERS, *" ".join(WAKE).split()}))
