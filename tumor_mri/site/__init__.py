"""The notebooks executed, as a website, on Kaggle, and the pages that are made from records."""
