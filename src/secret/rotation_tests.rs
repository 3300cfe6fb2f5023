use super::*;

#[test]
fn only_tokens_are_replaced_wherever_they_stand() {
    let old = keys(new_key().expose().as_bytes()).expect("a key");
    let new = keys(new_key().expose().as_bytes()).expect("a key");
    let token = old.encrypt_bytes(b"\xff no text");
    for frame in [
        "A=@",
        "AB=@\r\n",
        "ABC='@' # @",
        "ABCD=\"@\"\\n",
        "@",
        "é=@,@",
        "",
    ] {
        let text = frame.replace('@', &token);
        let mut tokens = Vec::new();
        let anew = replaced(text.as_bytes(), |token| {
            let plain = old.plain(token, now())?;
            tokens.push(new.encrypt_bytes(&plain));
            tokens.last().cloned()
        });
        let expected = tokens
            .iter()
            .fold(frame.to_owned(), |text, token| text.replacen('@', token, 1));
        assert_eq!(tokens.len(), frame.matches('@').count(), "{frame}");
        assert_eq!(String::from_utf8_lossy(&anew), expected);
    }
}
