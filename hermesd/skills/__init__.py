"""Skills: texts that tell an agent how something is done, its user's own and those that come with hermesd."""
