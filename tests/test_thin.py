async def test_a_person_signs_in_and_comes_back_to_the_page(each_site):
    browser = each_site.browser()
    answer = await browser.sign_in("/page?x=1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/page?x=1")
    seen = (await browser.navigate("/page?x=1")).json()
    assert seen["authenticated"] and seen["subject"] and seen["cookie"] == ""
