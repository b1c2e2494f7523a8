"""All questions that the explorer asks a store; no Streamlit."""
