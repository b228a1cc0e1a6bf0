"""Something that is not callable."""

a_list = [1, 2]
