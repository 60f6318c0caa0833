"""The common part of backends on object servers, over obstore."""
