"""The texts the bundled model is made for: the 43 single words of Speech Commands here, and six wake phrases."""

COMMANDS = ("DOWN", "GO", "LEFT", "NO", "OFF", "ON", "RIGHT", "STOP", "UP", "YES")
DIGITS = ("ZERO", "ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE")
OTHERS = ("BACKWARD", "BED", "BIRD", "CAT", "DOG", "FOLLOW", "FORWARD", "HAPPY", "HOUSE", "LEARN", "MARVIN", "SHEILA",
          "TREE", "VISUAL", "WOW")
WAKE = ("ALEXA", "COMPUTER", "JARVIS", "SMART MIRROR", "SNOWBOY", "VIEW GLASS")
WORDS = tuple(sorted({*COMMANDS, *DIGITS, *OTHERS, *(word for phrase in WAKE for word in phrase.split())}))
